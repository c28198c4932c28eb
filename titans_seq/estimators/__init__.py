"""The scikit-learn door: embedders that fit and transform."""

from titans_seq.estimators.embedder import TitansEmbedder
from titans_seq.estimators.forecaster import TitansForecaster

__all__ = ["TitansEmbedder", "TitansForecaster"]
