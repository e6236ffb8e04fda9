// The devices' kernels in torch.profiler's traces: as long as in virtual time, after their launch.
#include "machine.h"

#include <torch/csrc/profiler/standalone/privateuse1_profiler.h>

#include <libkineto.h>
#include <output_base.h>

namespace sim {
namespace {

using libkineto::ActivityType;

thread_local std::vector<uint64_t> operators;

class Session final : public libkineto::IActivityProfilerSession {
 public:
  void start() override { machine().keep_diary(true); }
  void stop() override { machine().keep_diary(false); }
  std::vector<std::string> errors() override { return {}; }
  std::unique_ptr<libkineto::DeviceInfo> getDeviceInfo() override { return nullptr; }
  std::vector<libkineto::ResourceInfo> getResourceInfos() override { return {}; }

  void pushCorrelationId(uint64_t id) override { enter(operators.emplace_back(id)); }
  void popCorrelationId() override {
    if (!operators.empty()) operators.pop_back();
    enter(operators.empty() ? 0 : operators.back());
  }

  void processTrace(libkineto::ActivityLogger&) override {}  // always called as below
  void processTrace(
      libkineto::ActivityLogger& logger, libkineto::getLinkedActivityCallback operator_of, int64_t,
      int64_t) override {
    int64_t free_at[kDevices] = {};
    int correlation = 0;
    for (const Kernel& kernel : machine().diary()) {
      const auto lasts = static_cast<int64_t>(kernel.end_ns - kernel.start_ns);
      auto& launch = add(ActivityType::PRIVATEUSE1_RUNTIME, "launch", kernel, ++correlation);
      launch.device = libkineto::processId();
      launch.resource = kernel.thread;
      launch.startTime = kernel.launched_at;
      launch.endTime = kernel.launched_at + 1;
      auto& run = add(ActivityType::CONCURRENT_KERNEL, kernel.name, kernel, correlation);
      run.device = kernel.device;
      run.startTime = std::max(kernel.launched_at + 1, free_at[kernel.device]);
      run.endTime = free_at[kernel.device] = run.startTime + lasts;
      launch.linked = run.linked = operator_of(static_cast<int32_t>(kernel.external_id));
      launch.log(logger);
      run.log(logger);
    }
  }

  std::unique_ptr<libkineto::CpuTraceBuffer> getTraceBuffer() override { return std::move(buffer_); }

 private:
  static void enter(uint64_t id) { external_id() = id; }

  libkineto::GenericTraceActivity& add(
      ActivityType type, const std::string& name, const Kernel& kernel, int correlation) {
    buffer_->emplace_activity(buffer_->span, type, name);
    auto& activity = *buffer_->activities.back();
    activity.id = static_cast<int32_t>(kernel.external_id);
    activity.addMetadata("correlation", correlation);
    return activity;
  }

  std::unique_ptr<libkineto::CpuTraceBuffer> buffer_ = [] {
    auto buffer = std::make_unique<libkineto::CpuTraceBuffer>();
    buffer->span = libkineto::TraceSpan(0, 0, "sim");
    buffer->gpuOpCount = 0;
    return buffer;
  }();
};

class Profiler final : public libkineto::IActivityProfiler {
 public:
  const std::string& name() const override { return name_; }
  const std::set<ActivityType>& availableActivities() const override { return activities_; }
  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      const std::set<ActivityType>& asked_for, const libkineto::Config&) override {
    if (!asked_for.count(ActivityType::PRIVATEUSE1_RUNTIME) || lacks("kernels")) return nullptr;
    return std::make_unique<Session>();
  }
  std::unique_ptr<libkineto::IActivityProfilerSession> configure(
      int64_t, int64_t, const std::set<ActivityType>& asked_for,
      const libkineto::Config& config) override {
    return configure(asked_for, config);
  }

 private:
  std::string name_ = "sim";
  std::set<ActivityType> activities_ = {
      ActivityType::CONCURRENT_KERNEL, ActivityType::PRIVATEUSE1_RUNTIME};
};

REGISTER_PRIVATEUSE1_PROFILER(Profiler);

}  // namespace
}  // namespace sim
