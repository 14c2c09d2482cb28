"""From a trained graph to an engine that is proven equal."""
