"""The model for Triton's Python backend, as its documentation shows: requests answered one by one."""

import shared_model as model
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, arguments):
        self.session = model.open_session()

    def execute(self, requests):
        return [self.answer(triton.get_input_tensor_by_name(request, "features").as_numpy()) for request in requests]

    def answer(self, rows):
        results = model.infer(self.session, rows)
        return triton.InferenceResponse([triton.Tensor(*output) for output in zip(model.OUTPUTS, results)])
