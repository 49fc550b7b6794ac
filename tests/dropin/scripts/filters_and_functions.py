import numpy as np
from keras import backend as K
from keras.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from keras.models import Model

K.set_image_data_format("channels_last")
K.clear_session()

inp = Input((12, 12, 3))
x = Conv2D(4, (3, 3), activation="relu", name="block1_conv1")(inp)
x = MaxPooling2D()(x)
x = Conv2D(6, (3, 3), activation="relu", name="block2_conv1")(x)
out = Dense(2, activation="softmax")(Dropout(0.5)(Flatten()(x)))
model = Model(inp, out)

layer_dict = dict([(layer.name, layer) for layer in model.layers])
layer_output = layer_dict["block2_conv1"].output
loss = K.mean(layer_output[:, :, :, 0])
grads = K.gradients(loss, model.input)[0]
grads /= K.sqrt(K.mean(K.square(grads))) + 1e-5
iterate = K.function([model.input], [loss, grads])

img = np.random.random((1, 12, 12, 3)) * 20 + 128.0
before = None
for i in range(5):
    loss_value, grads_value = iterate([img])
    before = loss_value if before is None else before
    img += grads_value * 1.0
print(loss_value >= before, grads_value.shape)

get_output = K.function([model.input, K.learning_phase()], [model.layers[-2].output])
x = np.ones((1, 12, 12, 3))
print(
    np.array_equal(get_output([x, 0])[0], get_output([x, 0])[0]),
    np.array_equal(get_output([x, 1])[0], get_output([x, 1])[0]),
)
print(K.int_shape(layer_output), K.backend(), K.image_data_format())
v = K.variable(np.zeros((2, 2)))
K.set_value(v, np.ones((2, 2)))
print(K.eval(v).sum(), K.get_value(K.dot(v, v))[0, 0])
