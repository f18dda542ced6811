"""Words: from people's texts to samples, the models that suggest the next word, and how these are measured."""
