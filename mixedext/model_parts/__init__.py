"""The parts that MixedLM is put together from, a module each."""
