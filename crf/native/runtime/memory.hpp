// Allocates memory, and caches large blocks for the next image.
#pragma once

#include <cstddef>

namespace atrous {

// Returns an uninitialised block, aligned for vector instructions; a large block starts at a huge page and fills whole
// huge pages. Sets `bytes` to the real size of the block, which release_block needs. Throws std::bad_alloc.
void* acquire_block(std::size_t& bytes);

void release_block(void* block, std::size_t bytes) noexcept;

// Returns the cached blocks to the system.
void release_memory() noexcept;

}  // namespace atrous
