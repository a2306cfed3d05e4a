"""From a model to a version directory that TensorFlow Serving serves from image bytes."""
