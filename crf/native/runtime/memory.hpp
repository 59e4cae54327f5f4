// Large blocks of memory, kept for the next image.
#pragma once

#include <cstddef>

namespace atrous {

// Aligned for vectors; large blocks start at and fill huge pages. `bytes` becomes what the block really has, which is
// what release_block wants to know. The block is not cleared. Throws std::bad_alloc.
void* acquire_block(std::size_t& bytes);

void release_block(void* block, std::size_t bytes) noexcept;

// Gives what is kept for later back to the system.
void release_memory() noexcept;

}  // namespace atrous
