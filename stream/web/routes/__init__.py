"""The API's paths, by what they are about. Each says who may use it; without that, none can be made."""
