"""Floor 0: the words of the product, frozen. Nothing here computes more than a look-up."""
