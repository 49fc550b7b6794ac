import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.backend.tensorflow_backend import set_session
from keras.layers import Dense
from keras.models import Sequential

np.random.seed(7)
tf.set_random_seed(7)
tf.logging.set_verbosity(tf.logging.ERROR)
config = tf.ConfigProto()
config.gpu_options.allow_growth = True
config.gpu_options.per_process_gpu_memory_fraction = 0.3
sess = tf.Session(config=config)
set_session(sess)
K.set_session(tf.Session(config=config))
graph = tf.get_default_graph()
with graph.as_default():
    with tf.device("/gpu:0"):
        model = Sequential([Dense(1, input_dim=2)])
    model.compile("sgd", "mse")
    print(model.predict(np.ones((1, 2))).shape)
sess.run(tf.global_variables_initializer())
print(K.get_session().run(model.weights[1]))
with tf.Session() as s:
    print(s.run(tf.constant([1.0, 2.0]) * 2))
