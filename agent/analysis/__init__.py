"""From millivolts to R peaks, beats in their context, lead state, rhythm windows and rate: one stage a file."""
