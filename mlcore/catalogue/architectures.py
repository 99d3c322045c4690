"""Classifier families by name: every torchvision classifier, the small network of the demonstration, and ResNets with
another pool."""

REGNET_SIZES = ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")
# A ResNet whose average pool is a global max pool has this behind its name; the weights' names are the same.
GLOBAL_MAX_POOL = "_max_pool"

FAMILIES: dict[str, tuple[str, ...]] = {
    "Small": ("sixconv",),
    "AlexNet": ("alexnet",),
    "ConvNeXt": ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    "DenseNet": ("densenet121", "densenet161", "densenet169", "densenet201"),
    "EfficientNet": (
        *(f"efficientnet_b{size}" for size in range(8)),
        "efficientnet_v2_s",
        "efficientnet_v2_m",
        "efficientnet_v2_l",
    ),
    "Inception": ("googlenet", "inception_v3"),
    "MaxViT": ("maxvit_t",),
    "MNASNet": ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
    "MobileNet": ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    "RegNet": (
        *(f"regnet_x_{size}" for size in REGNET_SIZES),
        *(f"regnet_y_{size}" for size in REGNET_SIZES),
        "regnet_y_128gf",
    ),
    "ResNet": (
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnext50_32x4d",
        "resnext101_32x8d",
        "resnext101_64x4d",
        "wide_resnet50_2",
        "wide_resnet101_2",
    ),
    "ResNet, global max pool": tuple(f"resnet{layers}{GLOBAL_MAX_POOL}" for layers in (18, 34, 50, 101, 152)),
    "ShuffleNet": ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
    "SqueezeNet": ("squeezenet1_0", "squeezenet1_1"),
    "Swin": ("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b"),
    "VGG": ("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    "ViT": ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"),
}

ARCHITECTURES: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
