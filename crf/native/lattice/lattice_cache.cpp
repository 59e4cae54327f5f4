#include "lattice/lattice_cache.hpp"

#include <algorithm>
#include <utility>

#include "runtime/singleton.hpp"

namespace atrous {

std::shared_ptr<const Lattice> LatticeCache::get(const PositionKey& key) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = std::find_if(items_.begin(), items_.end(), [&](const Item& item) { return item.key == key; });
  if (found == items_.end()) return nullptr;
  std::rotate(found, found + 1, items_.end());
  return items_.back().lattice;
}

void LatticeCache::put(const PositionKey& key, std::shared_ptr<const Lattice> lattice) {
  if (lattice->bytes() > kMaxBytes) return;
  std::vector<Item> dropped;  // declared before the lock, so that the memory is freed after the lock is released
  const std::lock_guard<std::mutex> lock(mutex);
  const auto same = std::find_if(items_.begin(), items_.end(), [&](const Item& item) { return item.key == key; });
  if (same != items_.end()) return;  // another thread stored it first
  items_.push_back({key, std::move(lattice)});
  std::size_t bytes = 0;
  for (const Item& item : items_) bytes += item.lattice->bytes();
  while (items_.size() > kMaxLattices || bytes > kMaxBytes) {
    bytes -= items_.front().lattice->bytes();
    dropped.push_back(std::move(items_.front()));
    items_.erase(items_.begin());
  }
}

void LatticeCache::clear() noexcept {
  std::vector<Item> dropped;
  const std::lock_guard<std::mutex> lock(mutex);
  dropped.swap(items_);
}

LatticeCache& lattice_cache() { return singleton<LatticeCache>(); }

}  // namespace atrous
