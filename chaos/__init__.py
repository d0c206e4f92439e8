"""Real node processes under real faults, and the judgement of what came of it."""
