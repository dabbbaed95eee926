"""An HTTPRoute of the Gateway API that divides the visitors between two slots."""
