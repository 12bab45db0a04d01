"""Turns the published weights of EfficientNet-Lite0 into the ONNX file that the engine runs.

``torch_file`` reads the weights without torch, ``efficientnet_lite`` writes the network as ONNX.
Runs when the engine is built or installed (``hatch_build.py``); not part of the package.
"""
