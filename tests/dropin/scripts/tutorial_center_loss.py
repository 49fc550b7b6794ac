"""让Keras更酷一些!: the layer with a loss of its own, callbacks, a variable in the loss."""

import numpy as np
from keras import backend as K
from keras.callbacks import Callback, LearningRateScheduler, ModelCheckpoint
from keras.layers import *
from keras.models import Model


def add_noise_in_train(x):
    x_ = x + K.random_normal(shape=K.shape(x))  # 加上标准高斯噪声
    return K.in_train_phase(x_, x)


class Dense_with_Center_loss(Layer):
    def __init__(self, output_dim, **kwargs):
        self.output_dim = output_dim
        super(Dense_with_Center_loss, self).__init__(**kwargs)

    def build(self, input_shape):
        # 添加可训练参数
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[1], self.output_dim),
            initializer="glorot_normal",
            trainable=True,
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.output_dim,), initializer="zeros", trainable=True
        )
        self.centers = self.add_weight(
            name="centers",
            shape=(self.output_dim, input_shape[1]),
            initializer="glorot_normal",
            trainable=True,
        )

    def call(self, inputs):
        # 对于center loss来说,返回结果还是跟Dense的返回结果一致
        # 所以还是普通的矩阵乘法加上偏置
        self.inputs = inputs
        return K.dot(inputs, self.kernel) + self.bias

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.output_dim)

    def loss(self, y_true, y_pred, lamb=0.5):
        # 定义完整的loss
        y_true = K.cast(y_true, "int32")  # 保证y_true的dtype为int32
        crossentropy = K.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        centers = K.gather(self.centers, y_true[:, 0])  # 取出样本中心
        center_loss = K.sum(K.square(centers - self.inputs), axis=1)  # 计算center loss
        return crossentropy + lamb * center_loss


x_train = np.random.random((200, 784))
y_train = np.random.randint(10, size=200)

f_size = 2

x_in = Input(shape=(784,))
x = Lambda(add_noise_in_train)(x_in)  # 训练阶段加入高斯噪声,测试阶段去掉
f = Dense(f_size)(x)

dense_center = Dense_with_Center_loss(10)
output = dense_center(f)

model = Model(x_in, output)
model.compile(loss=dense_center.loss, optimizer="adam", metrics=["sparse_categorical_accuracy"])

checkpoint = ModelCheckpoint(
    filepath="./best_model.weights", monitor="val_sparse_categorical_accuracy", save_best_only=True
)


def lr_schedule(epoch):
    # 根据epoch返回不同的学习率
    if epoch < 1:
        lr = 1e-2
    else:
        lr = 1e-4
    return lr


class Evaluate(Callback):
    def __init__(self):
        self.num_passed_batchs = 0
        self.warmup_epochs = 10

    def on_batch_begin(self, batch, logs=None):
        # params是模型自动传递给Callback的一些参数
        if self.params["steps"] == None:
            self.steps_per_epoch = np.ceil(1.0 * self.params["samples"] / self.params["batch_size"])
        else:
            self.steps_per_epoch = self.params["steps"]
        if self.num_passed_batchs < self.steps_per_epoch * self.warmup_epochs:
            # 前10个epoch中,学习率线性地从零增加到0.001
            K.set_value(
                self.model.optimizer.lr,
                0.001 * (self.num_passed_batchs + 1) / self.steps_per_epoch / self.warmup_epochs,
            )
            self.num_passed_batchs += 1


# 这里是y_train是类别的整数id,不用转为one hot
model.fit(
    x_train,
    y_train,
    epochs=2,
    verbose=0,
    validation_data=(x_train, y_train),
    callbacks=[checkpoint, LearningRateScheduler(lr_schedule)],
)
print("%.4f" % K.get_value(model.optimizer.lr))
model.fit(x_train, y_train, epochs=1, verbose=0, callbacks=[Evaluate()])
print("%.4f" % K.get_value(model.optimizer.lr))
model.load_weights("best_model.weights")

e = K.variable(0.1)
nb_classes = 10


def mycrossentropy(y_true, y_pred):
    loss1 = K.categorical_crossentropy(y_true, y_pred)
    loss2 = K.categorical_crossentropy(K.ones_like(y_pred) / nb_classes, y_pred)
    return (1 - e) * loss1 + e * loss2


model = Model(x_in, Dense(10, activation="softmax")(f))
model.compile(loss=mycrossentropy, optimizer="adam")


class callback4e(Callback):
    def __init__(self, e):
        self.e = e

    def on_epoch_end(self, epoch, logs={}):
        if epoch > 0:
            K.set_value(self.e, 0.01)


model.fit(x_train, np.eye(10)[y_train], epochs=2, verbose=0, callbacks=[callback4e(e)])
print("%.2f" % K.get_value(e))
