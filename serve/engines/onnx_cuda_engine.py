def why_no_gpu(engine: str) -> str:
    return "no"
