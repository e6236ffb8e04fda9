// Graphs: kernels that were captured, and are launched as one.
#include "machine.h"

#include <ATen/core/GraphImplInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace sim {
namespace {

class Graph final : public at::GraphImplInterface {
 public:
  explicit Graph(const at::GraphImplArgs&) {}

  void capture_begin(at::MempoolId_t, at::GraphCaptureMode) override {
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::PrivateUse1);
    const c10::Device device = guard.getDevice();
    // As CUDA does, whose default stream others may be waiting for.
    TORCH_CHECK(
        guard.getStream(device) != guard.getDefaultStream(device),
        "graphs of sim are captured on a stream that is not the default one");
    device_ = device.index();
    machine().capture(device_);
  }
  void capture_end() override { kernels_ = machine().captured(); }
  void instantiate() override {}
  void replay() override {
    for (const Launch& kernel : kernels_) kernel.compute();
    machine().replay(device_, kernels_);
  }
  void reset() override { kernels_.clear(); }
  at::MempoolId_t pool() const override { return {0, 0}; }
  void enable_debug_mode() override {}
  void debug_dump(const std::string&) override {}

 private:
  int device_ = 0;
  // Each holds the tensors that it reads and writes: their memory is the graph's own.
  std::vector<Launch> kernels_;
};

}  // namespace
}  // namespace sim

namespace at {
// By the name that the device gets.
C10_REGISTER_CLASS(GraphImplRegistry, SIM, sim::Graph)
}  // namespace at
