"""The parts that MixedLMResults is put together from, and what they need."""
