"""The code location of the data scientists: tables fetched through the gateway, and experiments on them."""
