"""The network as published code runs it in eager torch: what the deployed module's speed is held against."""

from torch import Tensor

from model.outputs import YolactOutputs
from model.segmenter import Segmenter
from model.yolact import normalise


class PlainSegmenter(Segmenter):
    """A segmenter that runs on contiguous maps, [B, C, H, W] in memory, as torch has them unless it is asked."""

    def infer(self, image: Tensor) -> YolactOutputs:
        """The first third: uint8 [B, H, W, 3] -> raw outputs. A picture's own layout would run through the network."""
        outputs: YolactOutputs = self.network(normalise(image, self.network.config).contiguous())
        return outputs
