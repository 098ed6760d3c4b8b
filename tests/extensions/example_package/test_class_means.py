"""The contract that pdd-ray has every method keep, on the method of this package."""

from pdd_ray.testing.contract import MethodContract


class TestClassMeans(MethodContract):
    options = {"name": "class_means", "averaged": 2}
