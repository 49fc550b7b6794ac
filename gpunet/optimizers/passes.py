"""What the rules of several optimizers do to whole arrays."""

__all__ = ["approach", "average", "descend"]


def average(xp, mean, new, rho, rest):
    """Move a running mean on: ``mean = rho * mean + rest * new``; ``new`` is overwritten."""
    xp.multiply(mean, rho, out=mean)
    xp.multiply(new, rest, out=new)
    xp.add(mean, new, out=mean)


def approach(xp, mean, new, rest, t):
    """Move a running mean on: ``mean += rest * (new - mean)``; ``t`` is scratch, may be new."""
    xp.subtract(new, mean, out=t)
    xp.multiply(t, rest, out=t)
    xp.add(mean, t, out=mean)


def descend(xp, w, direction, rate, t):
    """Move weights: ``w -= rate * direction``; ``t`` is scratch, may be the direction."""
    xp.multiply(direction, rate, out=t)
    xp.subtract(w, t, out=w)
