"""GStreamer: the only room that speaks of caps, pads and buses."""
