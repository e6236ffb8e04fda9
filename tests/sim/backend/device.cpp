// What torch asks of a device beside its operators: memory, streams, events, random numbers.
#include "machine.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/CachingHostAllocator.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>
#include <cstdlib>
#include <unordered_map>
#include <utility>

namespace sim {
namespace {

constexpr auto kSim = c10::DeviceType::PrivateUse1;
constexpr c10::StreamId kDefaultStream = 0;
thread_local c10::DeviceIndex current_device = 0;
thread_local c10::StreamId current_stream[kDevices] = {};

void check(c10::DeviceIndex index) {
  TORCH_CHECK(index >= 0 && index < kDevices, "there is no device sim:", static_cast<int>(index));
}

// Memory of the host, counted against each device's limit; nothing is cached.
class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    const auto device = current_device;
    const auto bytes = static_cast<int64_t>((size + kBlockBytes - 1) / kBlockBytes) * kBlockBytes;
    const c10::Device where(kSim, device);
    if (size == 0) return {nullptr, where};
    std::lock_guard<std::mutex> locked(mutex_);
    auto& of_device = stats_[device];
    const int64_t limit = machine().models[device].memory_bytes;
    if (of_device.allocated_bytes[0].current + bytes > limit) {
      ++of_device.num_ooms;
      TORCH_CHECK_WITH(
          OutOfMemoryError, false, "sim:", static_cast<int>(device), " out of memory: ", bytes,
          " bytes asked for, ", of_device.allocated_bytes[0].current, " of ", limit, " in use");
    }
    void* data = std::aligned_alloc(kBlockBytes, bytes);
    TORCH_CHECK(data, "the host has no memory for ", bytes, " bytes");
    blocks_[data] = {device, bytes};
    of_device.allocated_bytes[0].increase(bytes);
    of_device.reserved_bytes[0].increase(bytes);
    report(data, bytes, device);
    return {data, data, &Allocator::free, where};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Allocator::free; }

  void copy_data(void* target, const void* source, std::size_t count) const override {
    default_copy_data(target, source, count);
  }

  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}

  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    check(index);
    std::lock_guard<std::mutex> locked(mutex_);
    return stats_[index];
  }

  void resetAccumulatedStats(c10::DeviceIndex index) override {
    check(index);
    std::lock_guard<std::mutex> locked(mutex_);
    stats_[index].allocated_bytes[0].reset_accumulated();
    stats_[index].reserved_bytes[0].reset_accumulated();
  }

  void resetPeakStats(c10::DeviceIndex index) override {
    check(index);
    std::lock_guard<std::mutex> locked(mutex_);
    stats_[index].allocated_bytes[0].reset_peak();
    stats_[index].reserved_bytes[0].reset_peak();
  }

  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    const int64_t limit = machine().models[index].memory_bytes;
    return {limit - getDeviceStats(index).allocated_bytes[0].current, limit};
  }

 private:
  struct Block {
    c10::DeviceIndex device;
    int64_t bytes;
  };

  static void free(void* data);

  void report(void* data, int64_t change, c10::DeviceIndex device) {
    const int64_t now = stats_[device].allocated_bytes[0].current;
    c10::reportMemoryUsageToProfiler(data, change, now, now, {kSim, device});
  }

  std::mutex mutex_;
  std::unordered_map<void*, Block> blocks_;
  c10::CachingDeviceAllocator::DeviceStats stats_[kDevices];
};

Allocator& allocator() {
  static Allocator* the_one = new Allocator;
  return *the_one;
}

void Allocator::free(void* data) {
  if (!data) return;
  auto& self = allocator();
  std::lock_guard<std::mutex> locked(self.mutex_);
  const Block block = self.blocks_.at(data);
  self.blocks_.erase(data);
  self.stats_[block.device].allocated_bytes[0].decrease(block.bytes);
  self.stats_[block.device].reserved_bytes[0].decrease(block.bytes);
  std::free(data);
  self.report(data, -block.bytes, block.device);
}

// Of the host, for what travels: torch asks for it to be emptied before it captures a graph.
struct HostMemory final : at::HostAllocator {
  c10::DataPtr allocate(size_t size) override { return c10::GetAllocator(c10::kCPU)->allocate(size); }
  void copy_data(void* target, const void* source, std::size_t count) const override {
    default_copy_data(target, source, count);
  }
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}
};

struct Event {
  double stamp_ns;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kSim; }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  c10::Device getDevice() const override { return {kSim, current_device}; }
  void setDevice(c10::Device device) const override {
    if (!device.has_index()) return;
    check(device.index());
    current_device = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current_device = device.index();
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }

  c10::Stream getStream(c10::Device device) const override {
    const c10::Stream of_default = getDefaultStream(device);
    return stream(current_stream[of_default.device_index()], of_default.device());
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return stream(kDefaultStream, device.has_index() ? device : getDevice());
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return getNewStream(device, 0);
  }
  c10::Stream getNewStream(c10::Device device, int) const override {
    static std::atomic<c10::StreamId> latest{kDefaultStream};
    return stream(++latest, device.has_index() ? device : getDevice());
  }
  c10::Stream exchangeStream(c10::Stream given) const override {
    return stream(std::exchange(current_stream[given.device_index()], given.id()), given.device());
  }
  bool queryStream(const c10::Stream& stream) const override {
    return machine().free_ns(stream.device_index()) <= machine().host_ns();
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    synchronizeDevice(stream.device_index());
  }
  void synchronizeDevice(const c10::DeviceIndex index) const override {
    machine().wait_until(machine().free_ns(index < 0 ? current_device : index));
  }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex,
              const c10::EventFlag) const override {
    if (!*event) *event = new Event;
    static_cast<Event*>(*event)->stamp_ns = machine().stamp(stream.device_index());
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event) machine().hold_until(stream.device_index(), static_cast<Event*>(event)->stamp_ns);
  }
  bool queryEvent(void* event) const override {
    return !event || static_cast<Event*>(event)->stamp_ns <= machine().host_ns();
  }
  void synchronizeEvent(void* event) const override {
    if (event) machine().wait_until(static_cast<Event*>(event)->stamp_ns);
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }
  double elapsedTime(void* from, void* to, const c10::DeviceIndex) const override {
    const double ns = static_cast<Event*>(to)->stamp_ns - static_cast<Event*>(from)->stamp_ns;
    // Virtual time stands still then, and who repeats a block until it is long would not end.
    TORCH_CHECK(ns != 0, "nothing was queued on sim between two events");
    return ns / 1e6;
  }

 private:
  static c10::Stream stream(c10::StreamId id, c10::Device device) {
    return c10::Stream(c10::Stream::UNSAFE, device, id);
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

// The host's random numbers, under the device's name.
struct Generator final : c10::GeneratorImpl {
  explicit Generator(c10::DeviceIndex index)
      : GeneratorImpl({kSim, index}, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        of_cpu(at::detail::createCPUGenerator()) {}

  void set_current_seed(uint64_t seed) override { of_cpu.set_current_seed(seed); }
  uint64_t current_seed() const override { return of_cpu.current_seed(); }
  uint64_t seed() override { return of_cpu.seed(); }
  void set_offset(uint64_t offset) override { of_cpu.set_offset(offset); }
  uint64_t get_offset() const override { return of_cpu.get_offset(); }
  void set_state(const c10::TensorImpl& state) override {
    of_cpu.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return of_cpu.unsafeGetGeneratorImpl()->get_state();
  }
  GeneratorImpl* clone_impl() const override {
    auto* copy = new Generator(device().index());
    copy->of_cpu = of_cpu.clone();
    return copy;
  }

  at::Generator of_cpu;
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  c10::DeviceIndex getCurrentDevice() const override { return current_device; }
  void setCurrentDevice(c10::DeviceIndex index) const override {
    check(index);
    current_device = index;
  }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    const auto before = current_device;
    setCurrentDevice(index);
    return before;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override {
    return exchangeDevice(index);
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override {
    return default_generator(index < 0 ? current_device : index);
  }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override {
    return at::make_generator<Generator>(index < 0 ? current_device : index);
  }
};

const bool registered = [] {
  c10::SetAllocator(kSim, &allocator());
  at::setHostAllocator(kSim, new HostMemory);
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  return true;
}();

}  // namespace

const at::Generator& default_generator(int device) {
  static const std::vector<at::Generator>* all = [] {
    auto* made = new std::vector<at::Generator>;
    for (int index = 0; index < kDevices; ++index)
      made->push_back(at::make_generator<Generator>(index));
    return made;
  }();
  check(device);
  return (*all)[device];
}

at::Generator cpu_generator(const at::Generator& given) {
  auto* own = dynamic_cast<Generator*>(given.unsafeGetGeneratorImpl());
  return own ? own->of_cpu : given;
}

}  // namespace sim
