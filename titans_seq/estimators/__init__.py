"""The scikit-learn door: embedders that fit and transform."""
