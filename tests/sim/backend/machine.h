// The machine that is simulated: a host that queues kernels, and devices that run them in turn.
//
// All times are virtual, in ns since the process began, and pass nowhere but here: what a kernel
// really computes on the host's processor takes no time. A launch costs the host `launch_ns`; a
// kernel starts once it has been launched and its device is free. Views and allocations cost
// nothing. Every stream of a device is the same queue. While a device's kernels are captured, none
// is launched and nobody may wait; a graph of them is launched as one.
#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

namespace sim {

constexpr int kDevices = 2;
constexpr int64_t kBlockBytes = 512;  // an allocation is a multiple of it

// A device's cost model. A kernel takes the longest of `latency_ns`, its bytes over the bandwidth,
// and its FLOPs over their rate. Its bytes are each tensor that it reads and each that it writes.
// Where they do not all fit into the L2, they go past it, and nothing that was in it stays. Where
// they do, all of them stay in it, and their bandwidth is the L2's for that part of what is read
// that was in it already, the memory's for the rest, and for what is written alike.
struct Model {
  double launch_ns = 5e3;
  double latency_ns = 2e3;
  double bytes_per_ns = 1;
  double l2_bytes_per_ns = 4;
  double l2_bytes = 0;
  double flops_per_ns = 10;  // of four-byte elements; n times as many of elements n times smaller
  double throttled_from_ns = std::numeric_limits<double>::infinity();
  double throttled_factor = 1;  // on a kernel that starts from then on
  int64_t memory_bytes = int64_t{1} << 30;

  double arithmetic_ns(double flops, int64_t element_size) const;
};

struct Moved {
  const void* memory;  // of a tensor's storage, which is in the L2 as a whole or not at all
  double bytes;
};

// What a kernel moves.
struct Traffic {
  std::vector<Moved> reads, writes;
};

struct Kernel {
  std::string name;
  int device;
  double start_ns, end_ns;
  int64_t launched_at;  // by the real clock
  uint64_t external_id;  // of the operator, as the profiler calls it
  int thread;
};

// What is launched, and what computes its results once more, where they are.
struct Launch {
  std::string name;
  Traffic traffic;
  double flops;
  int64_t element_size;
  std::function<void()> compute;
};

class Machine {
 public:
  Model models[kDevices];

  void launch(int device, Launch kernel);
  void capture(int device);
  std::vector<Launch> captured();  // since then
  void replay(int device, const std::vector<Launch>& graph);
  bool captures();
  double host_ns();
  double free_ns(int device);  // when the device will have run all that is queued
  void wait_until(double ns);  // the host does
  void hold_until(int device, double ns);  // the device does, before what is queued next
  double stamp(int device);  // the time at which a mark queued now is reached
  void keep_diary(bool on);
  std::vector<Kernel> diary();  // what was launched since the diary was begun

 private:
  double moving_ns(int device, const Traffic& traffic);
  void run(int device, const Launch& kernel);

  std::mutex mutex_;
  int captures_ = -1;  // the device
  std::vector<Launch> captured_;
  double host_ns_ = 0;
  std::unordered_set<const void*> in_l2_[kDevices];
  double free_ns_[kDevices] = {};
  bool keeps_diary_ = false;
  std::vector<Kernel> diary_;
};

Machine& machine();
bool lacks(const char* what);  // as other makers' devices do, named in SIM_LACKS
uint64_t& external_id();  // of the operator that this thread is in
at::Generator cpu_generator(const at::Generator& of_a_device);
const at::Generator& default_generator(int device);

}  // namespace sim
