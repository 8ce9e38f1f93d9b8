"""What is classified: projects, workflows and their versions, task types, subject sets, subjects, stamps."""
