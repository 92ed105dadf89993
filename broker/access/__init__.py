"""Who may do what where: standing grants, and what a change of the inventory gives and takes."""
