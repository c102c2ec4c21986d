"""BentoML: a service with one method over numpy arrays, one worker."""

from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import DType

import shared_model as model


@bentoml.service(name="breast_cancer", workers=1, metrics={"enabled": True}, logging={"access": {"enabled": False}})
class BreastCancer:
    def __init__(self) -> None:
        self.session = model.open_session()

    @bentoml.api
    async def infer(self, features: Annotated[np.ndarray, DType("float32")]) -> dict:
        labels, probabilities = model.infer(self.session, features)
        return {"label": labels.tolist(), "probabilities": probabilities.tolist()}
