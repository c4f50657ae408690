"""Parts that the anchor-free pyramid decoders are composed of: layers, backbone, heads, assignment,
losses.
"""
