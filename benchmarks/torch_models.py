"""The models of `benchmarks.workloads` in PyTorch, channels first, as its users write them."""

import torch
from torch import nn

__all__ = ["MODELS"]


class Last(nn.Module):
    """A recurrent layer's last output; both directions' side by side."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        states = self.layer(x)[1]
        h = states[0] if isinstance(states, tuple) else states
        return h.transpose(0, 1).flatten(1)


def lstm(features, units, **options):
    return Last(nn.LSTM(features, units, batch_first=True, **options))


class Mean(nn.Module):
    """Mean, or maximum, over all axes behind the channels."""

    def __init__(self, largest=False):
        super().__init__()
        self.largest = largest

    def forward(self, x):
        x = x.flatten(2)
        return x.amax(2) if self.largest else x.mean(2)


class Residual(nn.Module):
    """The input added to what a part makes of it."""

    def __init__(self, part, shortcut=None, relu=False):
        super().__init__()
        self.part, self.shortcut, self.relu = part, shortcut or nn.Identity(), relu

    def forward(self, x):
        y = self.part(x) + self.shortcut(x)
        return torch.relu(y) if self.relu else y


def conv(channels, filters, padding=0, layer=nn.Conv2d):
    return [layer(channels, filters, 3, padding=padding), nn.ReLU()]


def mlp():
    return nn.Sequential(
        nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def mlp_wide():
    hidden = [nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2)]
    hidden += [nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*hidden, nn.Linear(512, 10))


def mnist_cnn():
    return nn.Sequential(
        *conv(1, 32), *conv(32, 64), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def toy_resnet():
    blocks = [Residual(nn.Sequential(*conv(64, 64, 1), *conv(64, 64, 1))) for _ in range(2)]
    head = [nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)]
    return nn.Sequential(
        *conv(3, 32), *conv(32, 64), nn.MaxPool2d(3), *blocks, *conv(64, 64), Mean(), *head
    )


def resnet20():
    layers, channels = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()], 16
    for filters in (16, 32, 64):
        for number in range(3):
            step = 2 if filters > 16 and number == 0 else 1
            part = nn.Sequential(
                nn.Conv2d(channels, filters, 3, step, 1), nn.BatchNorm2d(filters), nn.ReLU(),
                nn.Conv2d(filters, filters, 3, 1, 1), nn.BatchNorm2d(filters),
            )  # fmt: skip
            shortcut = nn.Conv2d(channels, filters, 1, 2) if step == 2 else None
            layers.append(Residual(part, shortcut, relu=True))
            channels = filters
    return nn.Sequential(*layers, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))


def vgg_like():
    layers, channels = [], 3
    for filters in (32, 64):
        layers += [*conv(channels, filters), *conv(filters, filters)]
        layers += [nn.MaxPool2d(2), nn.Dropout(0.25)]
        channels = filters
    head = [nn.Linear(64 * 22 * 22, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *head)


def autoencoder():
    def back(channels, filters):
        return conv(channels, filters, layer=nn.ConvTranspose2d)

    return nn.Sequential(
        *conv(1, 16), *conv(16, 32), nn.MaxPool2d(3), *conv(32, 32), *conv(32, 16),
        Mean(largest=True), nn.Unflatten(1, (1, 4, 4)), *back(1, 16), *back(16, 32),
        nn.Upsample(scale_factor=3), *back(32, 16), *back(16, 1),
    )  # fmt: skip


def conv1d():
    def one(channels, filters):
        return conv(channels, filters, layer=nn.Conv1d)

    return nn.Sequential(
        *one(100, 64), *one(64, 64), nn.MaxPool1d(3), *one(64, 128), *one(128, 128), Mean(),
        nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def imdb_lstm():
    return nn.Sequential(nn.Embedding(10000, 128), lstm(128, 128), nn.Linear(128, 1))


def gru():
    layer = Last(nn.GRU(128, 128, batch_first=True))
    return nn.Sequential(nn.Embedding(10000, 128), layer, nn.Linear(128, 1))


def bidirectional():
    layer = lstm(128, 64, bidirectional=True)
    return nn.Sequential(nn.Embedding(20000, 128), layer, nn.Dropout(0.5), nn.Linear(128, 1))


def char_lstm():
    return nn.Sequential(lstm(60, 128), nn.Linear(128, 60))


class News(nn.Module):
    def __init__(self):
        super().__init__()
        self.text = nn.Sequential(nn.Embedding(10000, 512), lstm(512, 32))
        layers = [nn.Linear(37, 64), nn.ReLU()]
        for _ in range(2):
            layers += [nn.Linear(64, 64), nn.ReLU()]
        self.main, self.aside = nn.Sequential(*layers, nn.Linear(64, 1)), nn.Linear(32, 1)

    def forward(self, words, extra):
        text = self.text(words)
        return [self.main(torch.cat([text, extra], 1)), self.aside(text)]


class Tickets(nn.Module):
    def __init__(self):
        super().__init__()
        self.title = nn.Sequential(nn.Embedding(10000, 64), lstm(64, 128))
        self.body = nn.Sequential(nn.Embedding(10000, 64), lstm(64, 32))
        self.priority, self.department = nn.Linear(172, 1), nn.Linear(172, 4)

    def forward(self, title, body, tags):
        x = torch.cat([self.title(title), self.body(body), tags], 1)
        return [self.priority(x), self.department(x)]


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared, self.last = lstm(256, 64), nn.Linear(128, 1)

    def forward(self, left, right):
        return self.last(torch.cat([self.shared(left), self.shared(right)], 1))


class ConvLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates = nn.Conv2d(17, 64, 3, padding=1)
        self.last = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):  # (N, C, T, H, W), as all images' channels come second
        h = c = x.new_zeros(len(x), 16, *x.shape[3:])
        for t in range(x.shape[2]):
            i, f, g, o = self.gates(torch.cat([x[:, :, t], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return torch.sigmoid(self.last(h))


def vgg19():
    layers, channels = [], 3
    for filters, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            layers += conv(channels, filters, 1)
            channels = filters
        layers.append(nn.MaxPool2d(2))
    head = [nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *head, nn.Linear(4096, 1000))


MODELS = {
    "news": News, "tickets": Tickets, "siamese": Siamese, "conv_lstm": ConvLSTM,
    **{f.__name__: f for f in (
        mlp, mlp_wide, mnist_cnn, toy_resnet, resnet20, vgg_like, autoencoder, imdb_lstm, conv1d,
        gru, bidirectional, char_lstm, vgg19,
    )},
}  # fmt: skip
