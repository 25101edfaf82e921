"""What a policy means: the model, the reference semantics, and the decision tree that is held to it."""
