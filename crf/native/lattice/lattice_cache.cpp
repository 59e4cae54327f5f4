#include "lattice/lattice_cache.hpp"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/singleton.hpp"

namespace atrous {
namespace {

constexpr std::size_t kMost = 4;
constexpr std::size_t kMostBytes = std::size_t{128} << 20;

struct Kept {
  PositionKey key;
  std::shared_ptr<const Lattice> lattice;
};

struct Shelf {
  std::mutex mutex;
  std::vector<Kept> kept;  // the last one used stands last
};

}  // namespace

std::shared_ptr<const Lattice> find_lattice(const PositionKey& key) {
  Shelf& shelf = singleton<Shelf>();
  const std::lock_guard<std::mutex> lock(shelf.mutex);
  const auto found = std::find_if(shelf.kept.begin(), shelf.kept.end(), [&](const Kept& k) { return k.key == key; });
  if (found == shelf.kept.end()) return nullptr;
  std::rotate(found, found + 1, shelf.kept.end());
  return shelf.kept.back().lattice;
}

void keep_lattice(const PositionKey& key, std::shared_ptr<const Lattice> lattice) {
  if (lattice->bytes() > kMostBytes) return;
  Shelf& shelf = singleton<Shelf>();
  std::vector<Kept> dropped;  // freed without the lock
  const std::lock_guard<std::mutex> lock(shelf.mutex);
  auto& kept = shelf.kept;
  const auto same = std::find_if(kept.begin(), kept.end(), [&](const Kept& k) { return k.key == key; });
  if (same != kept.end()) return;  // another thread was faster
  kept.push_back({key, std::move(lattice)});
  std::size_t bytes = 0;
  for (const Kept& k : kept) bytes += k.lattice->bytes();
  while (kept.size() > kMost || bytes > kMostBytes) {
    bytes -= kept.front().lattice->bytes();
    dropped.push_back(std::move(kept.front()));
    kept.erase(kept.begin());
  }
}

void forget_lattices() noexcept {
  std::vector<Kept> dropped;
  Shelf& shelf = singleton<Shelf>();
  const std::lock_guard<std::mutex> lock(shelf.mutex);
  dropped.swap(shelf.kept);
}

}  // namespace atrous
