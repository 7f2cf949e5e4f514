"""From traces to a law, and from a law to a verdict. No torch: judging takes milliseconds."""
