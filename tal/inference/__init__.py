"""From rows to detections of whole videos: windows, chunks, model folders and the detector."""
