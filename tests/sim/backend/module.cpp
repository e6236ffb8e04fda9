// What Python sees of the machine.
#include "machine.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace py = pybind11;

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  using sim::Kernel, sim::Model, sim::machine;
  py::class_<Model>(module, "Model")
      .def_readwrite("launch_ns", &Model::launch_ns)
      .def_readwrite("latency_ns", &Model::latency_ns)
      .def_readwrite("bytes_per_ns", &Model::bytes_per_ns)
      .def_readwrite("l2_bytes_per_ns", &Model::l2_bytes_per_ns)
      .def_readwrite("l2_bytes", &Model::l2_bytes)
      .def_readwrite("flops_per_ns", &Model::flops_per_ns)
      .def_readwrite("throttled_from_ns", &Model::throttled_from_ns)
      .def_readwrite("throttled_factor", &Model::throttled_factor)
      .def_readwrite("memory_bytes", &Model::memory_bytes);
  py::class_<Kernel>(module, "Kernel")
      .def_readonly("name", &Kernel::name)
      .def_readonly("device", &Kernel::device)
      .def_readonly("start_ns", &Kernel::start_ns)
      .def_readonly("end_ns", &Kernel::end_ns)
      .def_readonly("external_id", &Kernel::external_id);
  module.def("device_count", [] { return sim::kDevices; });
  module.def(
      "model", [](int device) -> Model& { return machine().models[device]; },
      py::return_value_policy::reference);
  module.def("host_ns", [] { return machine().host_ns(); });
  module.def("keep_diary", [](bool on) { machine().keep_diary(on); });
  module.def("diary", [] { return machine().diary(); });
}
