def why_no_tensorrt(engine: str) -> str:
    return "no"
