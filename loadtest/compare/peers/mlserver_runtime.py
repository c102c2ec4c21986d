"""MLServer has no runtime for ONNX of its own: a custom one, as its documentation shows, with its numpy codec."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

import shared_model as model


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        self.session = model.open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        results = model.infer(self.session, model.float_rows(rows))
        outputs = [NumpyCodec.encode_output(name, values) for name, values in zip(model.OUTPUTS, results)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
