"""Ready-made scenarios; `gossipfl sim scenarios` lists them."""
