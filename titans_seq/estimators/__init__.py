"""The scikit-learn door: embedders that fit and transform."""

from titans_seq.estimators.embedder import TitansEmbedder

__all__ = ["TitansEmbedder"]
