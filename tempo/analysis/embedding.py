"""Pooled features of videos in the plane (t-SNE), and how well they keep classes together.

The only file that imports scikit-learn. t-SNE: van der Maaten and Hinton, JMLR 9, 2008.
"""

import dataclasses

import numpy as np
import threadpoolctl  # a requirement of scikit-learn
from sklearn import decomposition, manifold, neighbors

from tempo.errors import InputError

MAX_VIDEOS = 5000
PERPLEXITY = 30.0
_PCA_DIMS = 50
MIN_VIDEOS = 4


@dataclasses.dataclass(frozen=True)
class Plane:
    """Videos in the plane.

    Attributes:
      rows: which videos, rising, [n]; all of them, or a sample.
      xy: their places, [n,2]; only who is near whom means something.
      perplexity: about how many neighbours a video was fitted to.
      same_class: share of these videos whose nearest other one, by the features themselves, is of
        the same class.
    """

    rows: np.ndarray
    xy: np.ndarray
    perplexity: float
    same_class: float


def project(
    features: np.ndarray, labels: np.ndarray, *, seed: int = 0, max_videos: int = MAX_VIDEOS
) -> Plane:
    """t-SNE of features, begun from their first two principal components.

    Args:
      features: [N,D].
      labels: class of each video, [N].
      seed: of the sample, and of t-SNE.
      max_videos: a sample of this many is taken where there are more.

    Raises:
      InputError: fewer than 4 videos, or features that are not finite.
    """
    features = np.asarray(features, np.float64)
    if len(features) < MIN_VIDEOS:
        raise InputError(f"t-SNE needs at least {MIN_VIDEOS} videos; got {len(features)}.")
    if not np.isfinite(features).all():
        raise InputError("Features that are not finite have no place in the plane.")
    rows = np.arange(len(features))
    if len(rows) > max_videos:
        rows = np.sort(np.random.default_rng(seed).choice(rows, max_videos, replace=False))
    x, own = features[rows], np.asarray(labels)[rows]
    # A neighbourhood of a third of the videos is the widest that scikit-learn's neighbours serve.
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    nearest = neighbors.NearestNeighbors(n_neighbors=1).fit(x).kneighbors(return_distance=False)
    reduced = _principal(x, seed)
    # One thread: the sums of several depend on how many there are, and on a busy machine they spend
    # their time waiting for each other.
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        xy = manifold.TSNE(
            n_components=2,
            perplexity=perplexity,
            init=_start(reduced),
            learning_rate="auto",
            random_state=seed,
        ).fit_transform(reduced)
    return Plane(rows, xy.astype(np.float64), perplexity, float(np.mean(own[nearest[:, 0]] == own)))


def _principal(x: np.ndarray, seed: int) -> np.ndarray:
    """At most 50 principal components, as is usual before t-SNE; float32."""
    dims = min(_PCA_DIMS, *x.shape)
    reduced = decomposition.PCA(
        dims, svd_solver="full" if max(x.shape) <= 1000 else "randomized", random_state=seed
    ).fit_transform(x)
    return reduced.astype(np.float32)


def _start(reduced: np.ndarray) -> np.ndarray:
    """The first two components, small as t-SNE wants to begin; a missing second one is 0."""
    start = np.zeros((len(reduced), 2), np.float32)
    start[:, : reduced.shape[1]] = reduced[:, :2]
    scale = start[:, 0].std()
    return start / scale * 1e-4 if scale > 0 else start
