"""Each rule fires where its fault is planted, alone, and not where it is not."""

import keras
import numpy as np
import pytest
from keras import layers, regularizers

from hornbook.zoo.doctor import diagnose, review

SPARSE = keras.losses.SparseCategoricalCrossentropy


def rules(*arguments, **keywords):
    return [finding.rule for finding in review(*arguments, **keywords)]


def net(*inner, loss="sparse_categorical_crossentropy", head="softmax", optimizer=None):
    """A compiled net of 3 classes of 8 features."""
    model = keras.Sequential(
        [keras.Input((8,)), *inner, layers.Dense(3, activation=head, name="head")]
    )
    model.compile(optimizer or keras.optimizers.Adam(1e-3), loss)
    return model


def relu(**keywords):
    keywords.setdefault("kernel_initializer", "he_normal")
    return layers.Dense(16, activation="relu", **keywords)


def data(seed=0, examples=64):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, 8)).astype("float32")
    return x, np.arange(examples) % 3


def test_a_healthy_model_has_no_findings():
    model = net(relu(), layers.Dropout(0.5), relu())
    found = rules(model, data(), validation_data=data(1), batch_size=32)
    assert found == []


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "hard_sigmoid"])
def test_saturating_activation(activation):
    assert rules(net(layers.Dense(16, activation=activation))) == [
        "saturating_activation"
    ]
    separate = net(layers.Dense(16), layers.Activation(activation))
    assert rules(separate) == ["saturating_activation"]


def test_gates_cells_and_answers_may_saturate():
    inputs = keras.Input((8, 8, 4))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    x = layers.GlobalAveragePooling2D()(layers.Multiply()([inputs, gate]))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    assert rules(model) == []
    cell = [keras.Input((5, 8)), layers.LSTM(4), layers.Dense(1, activation="tanh")]
    assert rules(keras.Sequential(cell)) == []


@pytest.mark.parametrize("initializer", ["zeros", "ones"])
def test_symmetric_kernel(initializer):
    assert rules(net(relu(kernel_initializer=initializer))) == ["symmetric_kernel"]


def test_a_zero_head_and_a_zero_residual_are_fine():
    model = net(relu())
    model.get_layer("head").kernel.assign(np.zeros((16, 3)))
    assert rules(model) == []
    inputs = keras.Input((8,))
    branch = layers.Dense(8, kernel_initializer="zeros")(relu()(inputs))
    outputs = layers.Dense(3)(layers.Add()([inputs, branch]))
    assert rules(keras.Model(inputs, outputs)) == []


def test_glorot_before_relu_in_a_deep_plain_stack():
    stack = [relu(kernel_initializer="glorot_uniform") for _ in range(10)]
    (finding,) = review(net(*stack))
    assert finding.rule == "glorot_before_relu"
    assert "10 layers" in finding.evidence
    assert rules(net(*[relu() for _ in range(10)])) == []
    assert rules(net(*[relu(kernel_initializer="glorot_uniform")] * 1)) == []
    normed = [
        each
        for _ in range(10)
        for each in (layers.Dense(16), layers.BatchNormalization(), layers.ReLU())
    ]
    assert rules(net(*normed)) == []


@pytest.mark.parametrize("scale, fires", [(0.05, True), (1.0, True), (0.25, False)])
def test_activation_drift(scale, fires):
    # In 64 units, ReLU keeps the variance at a standard deviation of sqrt(2 / 64).
    normal = keras.initializers.RandomNormal(stddev=scale * np.sqrt(2 / 4))
    stack = [
        layers.Dense(64, activation="relu", kernel_initializer=normal) for _ in range(6)
    ]
    assert rules(net(*stack), data()) == ["activation_drift"] * fires


@pytest.mark.parametrize(
    "change, fires",
    [
        (lambda x: x, False),
        (lambda x: x * 3 - 2, False),
        (lambda x: x * 255, True),
        (lambda x: x + 10, True),
        (lambda x: x * np.logspace(0, 3, 8), True),
        (lambda x: x * 1e-3, True),
    ],
)
def test_unnormalised_input(change, fires):
    x, y = data()
    x = change(x).astype("float32")
    assert rules(net(relu()), (x, y)) == ["unnormalised_input"] * fires
    normalization = layers.Normalization()
    normalization.adapt(x)
    assert rules(net(normalization, relu()), (x, y)) == []


def test_inputs_that_are_not_finite():
    x, y = data()
    x[3, 4] = np.nan
    assert rules(net(relu()), (x, y)) == ["unnormalised_input"]


def test_dropout_before_batchnorm():
    norm = layers.BatchNormalization
    assert rules(net(layers.Dropout(0.5), relu(), norm())) == [
        "dropout_before_batchnorm"
    ]
    assert rules(net(relu(), layers.Dropout(0.5), norm())) == [
        "dropout_before_batchnorm"
    ]
    assert rules(net(norm(), relu(), layers.Dropout(0.5), relu())) == []
    assert rules(net(layers.Dropout(0.0), norm(), relu())) == []


def test_decay_on_biases():
    model = net(relu(), optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.01))
    assert rules(model) == ["decay_on_biases"]
    biases = [v for v in model.trainable_variables if v.name == "bias"]
    model.optimizer.exclude_from_weight_decay(var_list=biases)
    assert rules(model) == []
    assert rules(net(relu(bias_regularizer=regularizers.L2(0.1)))) == [
        "decay_on_biases"
    ]
    assert rules(net(relu(kernel_regularizer=regularizers.L2(0.1)))) == []


@pytest.mark.parametrize("batch_size, fires", [(1, True), (2, True), (16, False)])
def test_tiny_batch(batch_size, fires):
    model = net(layers.BatchNormalization(), relu())
    assert rules(model, batch_size=batch_size) == ["tiny_batch"] * fires
    x, y = data()
    batches = [(x[:batch_size], y[:batch_size])]
    assert rules(model, batches) == ["tiny_batch"] * fires
    model.layers[0].trainable = False
    assert rules(model, batch_size=batch_size) == []
    assert rules(net(relu()), batch_size=batch_size) == []


@pytest.mark.parametrize(
    "head, loss, fires",
    [
        ("softmax", SPARSE(from_logits=True), True),
        ("linear", SPARSE(from_logits=False), True),
        ("relu", "sparse_categorical_crossentropy", True),
        ("sigmoid", keras.losses.BinaryCrossentropy(from_logits=True), True),
        ("softmax", SPARSE(from_logits=False), False),
        ("linear", SPARSE(from_logits=True), False),
        ("sigmoid", "binary_crossentropy", False),
        ("linear", "mse", False),
        ("relu", "mse", False),
    ],
)
def test_logits(head, loss, fires):
    assert rules(net(relu(), loss=loss, head=head)) == ["logits"] * fires


def test_logits_sees_through_a_separate_activation():
    inputs = keras.Input((8,))
    outputs = layers.Softmax()(layers.Dense(3)(relu()(inputs)))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy")
    assert rules(model) == []
    model.compile("adam", SPARSE(from_logits=True))
    assert rules(model) == ["logits"]


def test_softmax_over_one_unit():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(1, activation="softmax")])
    model.compile("adam", "binary_crossentropy")
    assert rules(model) == ["logits"]


@pytest.mark.parametrize(
    "loss, make, fires",
    [
        ("sparse_categorical_crossentropy", lambda y: y, False),
        ("sparse_categorical_crossentropy", lambda y: y[:, None], False),
        ("sparse_categorical_crossentropy", lambda y: y + 1, True),
        ("sparse_categorical_crossentropy", lambda y: y - 1, True),
        ("sparse_categorical_crossentropy", lambda y: y + 0.5, True),
        ("sparse_categorical_crossentropy", lambda y: np.eye(3)[y], True),
        ("categorical_crossentropy", lambda y: np.eye(3)[y], False),
        ("categorical_crossentropy", lambda y: y, True),
        ("categorical_crossentropy", lambda y: np.eye(3)[y] * 2, True),
        ("mse", lambda y: np.where(y == 0, np.nan, y), True),
        ("mse", lambda y: y * 100.0, False),
    ],
)
def test_labels(loss, make, fires):
    x, y = data()
    head = "linear" if loss == "mse" else "softmax"
    model = net(relu(), loss=loss, head=head)
    assert rules(model, (x, make(y))) == ["labels"] * fires


def test_binary_labels():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
    x, y = data()
    assert rules(model, (x, (y > 0) * 2 - 1)) == ["labels"]
    assert rules(model, (x, y > 0)) == []


def test_shared_examples():
    x, y = data()
    other, labels = data(1)
    model = net(relu())
    assert rules(model, (x, y), validation_data=(other, labels)) == []
    other[:5] = x[10:15]
    (finding,) = review(model, (x, y), validation_data=(other, labels))
    assert finding.rule == "shared_examples"
    assert finding.evidence.startswith("5 of 64 validation examples")


def test_frozen_in_between():
    first, second, third = relu(), relu(), relu()
    model = net(first, second, third)
    second.trainable = False
    (finding,) = review(model)
    assert (finding.rule, finding.layer) == ("frozen_in_between", second.path)
    first.trainable = False  # a frozen backbone below a head
    assert rules(model) == []


def test_names_layers_of_nested_and_subclassed_models():
    class Inner(keras.Model):
        def __init__(self):
            super().__init__(name="inner")
            self.dense = relu(kernel_initializer="zeros", name="dead")
            self.out = layers.Dense(4)

        def call(self, x):
            return self.out(self.dense(x))

    inner = Inner()
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(3)(layers.ReLU()(inner(inputs))))
    (finding,) = review(model)
    assert (finding.rule, finding.layer) == ("symmetric_kernel", inner.dense.path)
    assert finding.layer in str(finding) and "(symmetry)" in str(finding)


def test_several_inputs_outputs_and_integers():
    words, numbers = keras.Input((5,), dtype="int32"), keras.Input((3,))
    x = layers.Flatten()(layers.Embedding(10, 4)(words))
    x = relu()(layers.Concatenate()([x, numbers]))
    model = keras.Model([words, numbers], [layers.Dense(2)(x), layers.Dense(1)(x)])
    model.compile("adam", ["mse", "mse"])
    assert rules(model) == []
    x = [np.zeros((4, 5), "int32"), np.zeros((4, 3), "float32")]
    assert rules(model, (x, [np.zeros((4, 2)), np.zeros((4, 1))])) == []


def test_changes_nothing():
    model = net(relu(), layers.BatchNormalization())
    x, y = data()
    calls = [vars(layer).get("call") for layer in model.layers]
    before = [np.array(v) for v in model.variables]
    review(model, (x, y))
    assert [vars(layer).get("call") for layer in model.layers] == calls
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
    model.fit(x, y, verbose=0)


def test_refuses_what_it_cannot_look_at():
    model = keras.Sequential([layers.Dense(3)])
    with pytest.raises(ValueError, match="pass `data`"):
        review(model)
    assert rules(model, data()) == []
    with pytest.raises(ValueError, match="`data` is empty"):
        review(model, [])
    with pytest.raises(ValueError, match="Received: 0 examples"):
        review(model, (np.zeros((0, 8)), np.zeros(0)))


# VGG has 13 and 16 layers of ReLU under Glorot's variance, and nothing to normalise
# them: what was true of it is what the finding says. NASNet and MobileNet's kin only
# take larger inputs.
APPLICATIONS = [
    *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0"),
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2"),
    *("MobileNetV3Large", "MobileNetV3Small", "NASNetMobile", "ResNet50"),
    *("ResNet50V2", "VGG16", "VGG19", "Xception"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_says_nothing_false_of_keras_applications(name):
    keras.utils.clear_session()
    size = 224 if name == "NASNetMobile" else 96
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    expected = ["glorot_before_relu"] if name.startswith("VGG") else []
    assert rules(model) == expected


def test_weights_that_are_not_finite():
    model = net(relu())
    kernel = model.layers[-1].kernel
    value = np.array(kernel)
    value[0] = np.nan
    value[1, 0] = np.inf
    kernel.assign(value)
    [finding] = [f for f in review(model) if f.rule == "non_finite_weights"]
    assert finding.layer == model.layers[-1].path
    count = value.shape[1] + 1
    assert f"{count} of {value.size} values of kernel" in finding.evidence
    diagnosis = diagnose(model, data())
    assert diagnosis.findings[0].rule == "non_finite_weights"
    assert "lower the learning rate" in diagnosis.actions[0]
