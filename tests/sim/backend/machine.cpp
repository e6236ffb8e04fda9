#include "machine.h"

#include <c10/util/Exception.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace sim {

using Locked = std::lock_guard<std::mutex>;

double Model::arithmetic_ns(double flops, int64_t element_size) const {
  return flops / (flops_per_ns * 4 / static_cast<double>(element_size));
}

double Machine::moving_ns(int device, const Traffic& traffic) {
  const Model& model = models[device];
  auto& in_l2 = in_l2_[device];
  double read = 0, found = 0, written = 0;
  for (const auto& [memory, bytes] : traffic.reads) {
    read += bytes;
    if (in_l2.count(memory)) found += bytes;
  }
  for (const auto& [memory, bytes] : traffic.writes) written += bytes;
  if (read + written > model.l2_bytes) {
    in_l2.clear();
    return (read + written) / model.bytes_per_ns;
  }
  for (const auto& moved : traffic.reads) in_l2.insert(moved.memory);
  for (const auto& moved : traffic.writes) in_l2.insert(moved.memory);
  const double share = read ? found / read : 1;
  return (read + written) * (share / model.l2_bytes_per_ns + (1 - share) / model.bytes_per_ns);
}

void Machine::launch(int device, Launch kernel) {
  Locked locked(mutex_);
  if (captures_ == device) {
    captured_.push_back(std::move(kernel));
    return;
  }
  host_ns_ += models[device].launch_ns;
  run(device, kernel);
}

void Machine::capture(int device) {
  Locked locked(mutex_);
  captures_ = device;
}

std::vector<Launch> Machine::captured() {
  Locked locked(mutex_);
  captures_ = -1;
  return std::move(captured_);
}

void Machine::replay(int device, const std::vector<Launch>& graph) {
  Locked locked(mutex_);
  host_ns_ += models[device].launch_ns;
  for (const Launch& kernel : graph) run(device, kernel);
}

bool Machine::captures() {
  Locked locked(mutex_);
  return captures_ >= 0;
}

void Machine::run(int device, const Launch& kernel) {
  const Model& model = models[device];
  const double start_ns = std::max(host_ns_, free_ns_[device]);
  const double slowness = start_ns < model.throttled_from_ns ? 1 : model.throttled_factor;
  const double lasts_ns = std::max({
      model.latency_ns, moving_ns(device, kernel.traffic),
      model.arithmetic_ns(kernel.flops, kernel.element_size)});
  free_ns_[device] = start_ns + lasts_ns * slowness;
  if (keeps_diary_) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const int64_t now_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    diary_.push_back(
        {kernel.name, device, start_ns, free_ns_[device], now_ns, external_id(), gettid()});
  }
}

double Machine::host_ns() {
  Locked locked(mutex_);
  return host_ns_;
}

double Machine::free_ns(int device) {
  Locked locked(mutex_);
  return free_ns_[device];
}

void Machine::wait_until(double ns) {
  Locked locked(mutex_);
  TORCH_CHECK(captures_ < 0, "nobody may wait for sim while its kernels are captured");
  host_ns_ = std::max(host_ns_, ns);
}

void Machine::hold_until(int device, double ns) {
  Locked locked(mutex_);
  free_ns_[device] = std::max(free_ns_[device], ns);
}

double Machine::stamp(int device) {
  Locked locked(mutex_);
  return std::max(host_ns_, free_ns_[device]);
}

void Machine::keep_diary(bool on) {
  Locked locked(mutex_);
  keeps_diary_ = on;
  if (on) diary_.clear();
}

std::vector<Kernel> Machine::diary() {
  Locked locked(mutex_);
  return diary_;
}

Machine& machine() {
  static Machine* the_one = new Machine;  // outlives the interpreter, which frees tensors late
  return *the_one;
}

bool lacks(const char* what) {
  const char* named = std::getenv("SIM_LACKS");
  return named && std::strstr(named, what);
}

uint64_t& external_id() {
  thread_local uint64_t id = 0;
  return id;
}

}  // namespace sim
