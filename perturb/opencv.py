"""OpenCV for what it does several times as fast on a CPU: filters, lenses, order of colours.

`cv2` is None where it is not installed; then numpy and torch do the same. Layouts and look-ups have
the same bytes either way, filters and lenses but for one grey level in a few values of a thousand.
"""

try:
    import cv2
except ImportError:
    cv2 = None  # type: ignore[assignment]

__all__ = ["cv2"]
