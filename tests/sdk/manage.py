"""Manages a fleet over gRPC by reflection alone: no generated code, no .proto file."""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8801")
reflected = ProtoReflectionDescriptorDatabase(channel)
described = DescriptorPool(reflected)


def call(service, method, **fields):
    rpc = described.FindServiceByName(service).methods_by_name[method]
    request, answer = GetMessageClass(rpc.input_type), GetMessageClass(rpc.output_type)
    stub = channel.unary_unary(f"/{service}/{method}", request.SerializeToString, answer.FromString)
    return stub(request(**fields), timeout=5)


print("services:", *reflected.get_services())
print("health:", call("grpc.health.v1.Health", "Check"))
print("created:", call("llmbalancer.v1.Management", "CreateBackend",
                       backend={"name": "from-python", "url": "http://127.0.0.1:9"}))
print("backends:", [b.name for b in call("llmbalancer.v1.Management", "ListBackends").backends])
print("deleted:", call("llmbalancer.v1.Management", "DeleteBackend", name="from-python"))
