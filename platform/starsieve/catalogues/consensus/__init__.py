"""Models of volunteers over all votes of a workflow: which votes, which method, what comes out, what it is worth."""
