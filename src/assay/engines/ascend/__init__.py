"""Huawei's Ascend chips: ATC compiles for them, the inference tool's Python package runs on them."""
