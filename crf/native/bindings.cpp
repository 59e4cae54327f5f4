// The Python bindings of the kernel: they check sizes, release the GIL and create arrays. The documentation is in
// crf/src/atrous_crf/_native.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include "inference/filter.hpp"
#include "kernels/kernels.hpp"
#include "lattice/lattice_cache.hpp"
#include "inference/mean_field.hpp"
#include "runtime/memory.hpp"
#include "runtime/parallel.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace atrous {
namespace {

using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using AnyFloats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using FloatImage = nb::ndarray<const float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using ByteImage = nb::ndarray<const std::uint8_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Indices = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Marginals = nb::ndarray<nb::numpy, float, nb::ndim<2>>;
using MarginalsIn = nb::ndarray<float, nb::ndim<2>, nb::device::cpu>;

void require(bool claim, const char* message) {
  if (!claim) throw std::invalid_argument(message);
}

// A negative number must be an error, not a huge size.
std::size_t to_size(std::int64_t value, const char* name) {
  if (value < 0) throw std::invalid_argument(std::string(name) + " must not be negative");
  return static_cast<std::size_t>(value);
}

nb::capsule to_capsule(Buffer<float>& buffer, float*& data) {
  auto owned = std::make_unique<Buffer<float>>(std::move(buffer));
  data = owned->data();
  nb::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<Buffer<float>*>(p); });
  static_cast<void>(owned.release());
  return owner;
}

// Returns (C, N), a transposed view of a buffer of (N, C).
Marginals to_marginals(Buffer<float>& buffer, int num_classes, std::size_t num_points) {
  float* data = nullptr;
  nb::capsule owner = to_capsule(buffer, data);
  return Marginals(data, {static_cast<std::size_t>(num_classes), num_points}, owner, {1, num_classes});
}

Marginals to_matrix(Buffer<float>& buffer, std::size_t rows, std::size_t columns) {
  float* data = nullptr;
  nb::capsule owner = to_capsule(buffer, data);
  return Marginals(data, {rows, columns}, owner);
}

Buffer<float> new_output(const MeanField& field) {
  const auto classes = static_cast<std::size_t>(field.num_classes());
  if (field.num_points() > std::numeric_limits<std::size_t>::max() / sizeof(float) / classes) throw std::bad_alloc();
  return Buffer<float>(classes * field.num_points());
}

CompatibilityMatrix to_compatibility(const AnyFloats& array) {
  CompatibilityMatrix result;
  result.rank = static_cast<int>(array.ndim());
  result.values.assign(array.data(), array.data() + array.size());
  require(result.rank <= 2 && (result.rank < 2 || array.shape(0) == array.shape(1)),
       "a compatibility must be a number, one number per class, or a square matrix");
  return result;
}

// Whether a (C, N) array has the memory layout of to_marginals.
bool lies_as_rows(const MarginalsIn& q) {
  return (q.shape(0) == 1 || q.stride(0) == 1) &&
         (q.shape(1) == 1 || q.stride(1) == static_cast<std::int64_t>(q.shape(0)));
}

float* check_marginals(const MeanField& field, const MarginalsIn& q) {
  require(q.shape(0) == static_cast<std::size_t>(field.num_classes()) && q.shape(1) == field.num_points(),
       "q must have the shape (num_classes, num_points)");
  require(lies_as_rows(q), "q must have the memory layout that start() returned");
  return q.data();
}

template <class Image>
void add_image(MeanField& field, const Image& image, float x_std, float y_std, const Vector& stds,
               const AnyFloats& compat, int normalization, std::size_t height, std::size_t width) {
  require(image.shape(0) == height && image.shape(1) == width, "the image must have the height and width of the field");
  require(image.shape(2) == stds.shape(0), "stds must have one number per channel of the image");
  require(image.shape(2) >= 1 && image.shape(2) <= kMaxDimensions - 2, "the image must have 1 to 253 channels");
  CompatibilityMatrix compatibility = to_compatibility(compat);
  nb::gil_scoped_release release;
  field.add_image(image.data(), static_cast<int>(image.shape(2)), x_std, y_std, stds.data(),
                  std::move(compatibility), static_cast<Normalization>(normalization));
}

// A field with the size of its grid, for the checks in this file.
struct BoundField {
  MeanField field;
  std::size_t height, width;
};

bool interrupted() {
  nb::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() != 0;
}

}  // namespace
}  // namespace atrous

NB_MODULE(_native, m) {
  using namespace atrous;

  // Wrong arguments raise the package's own error, which is also a ValueError.
  nb::register_exception_translator([](const std::exception_ptr& failure, void*) {
    const auto raise = [](const std::exception& error) {
      const nb::object type = nb::module_::import_("atrous_crf.errors").attr("InputError");
      PyErr_SetString(type.ptr(), error.what());
    };
    try {
      std::rethrow_exception(failure);
    } catch (const std::invalid_argument& error) {
      raise(error);
    } catch (const std::length_error& error) {
      raise(error);
    }
  });

  nb::class_<BoundField>(m, "MeanField")
      .def(
          "__init__",
          [](BoundField* self, std::int64_t num_classes, std::int64_t num_points, std::int64_t height,
             std::int64_t width, int threads, bool ring) {
            require(num_classes >= 1 && num_classes <= 1 << 24, "num_classes must be from 1 to 2^24");
            const std::size_t points = to_size(num_points, "num_points");
            const std::size_t rows = to_size(height, "height"), columns = to_size(width, "width");
            require((rows == 0) == (columns == 0), "height and width must both be 0 or both be positive");
            require(threads >= 0 && threads <= 4096, "threads must be from 0 to 4096");
            new (self) BoundField{MeanField(static_cast<int>(num_classes), points, rows, columns, threads, ring),
                                  rows, columns};
          },
          "num_classes"_a, "num_points"_a, nb::kw_only(), "height"_a = 0, "width"_a = 0, "threads"_a = 0,
          "ring"_a = false)
      .def(
          "set_unary",
          [](BoundField& self, const Matrix& energy) {
            require(energy.shape(0) == static_cast<std::size_t>(self.field.num_classes()) &&
                     energy.shape(1) == self.field.num_points(),
                 "energy must have the shape (num_classes, num_points)");
            nb::gil_scoped_release release;
            self.field.set_unary(energy.data());
          },
          "energy"_a)
      .def(
          "set_probabilities",
          [](BoundField& self, const Matrix& probabilities, std::optional<Indices> live) {
            require(probabilities.shape(1) == self.field.num_points(), "probabilities must have one column per point");
            nb::gil_scoped_release release;
            self.field.set_probabilities(probabilities.data(), probabilities.shape(0),
                                         live ? live->data() : nullptr, live ? live->size() : 0);
          },
          "probabilities"_a, "live"_a = nb::none())
      .def("clear_unary", [](BoundField& self) { self.field.clear_unary(); })
      .def(
          "add_positions",
          [](BoundField& self, float x_std, float y_std, const AnyFloats& compat, int normalization) {
            self.field.add_positions(x_std, y_std, to_compatibility(compat),
                                     static_cast<Normalization>(normalization));
          },
          "x_std"_a, "y_std"_a, "compat"_a, "normalization"_a)
      .def(
          "add_image",
          [](BoundField& self, const ByteImage& image, float x_std, float y_std, const Vector& stds,
             const AnyFloats& compat, int normalization) {
            add_image(self.field, image, x_std, y_std, stds, compat, normalization, self.height, self.width);
          },
          "image"_a, "x_std"_a, "y_std"_a, "stds"_a, "compat"_a, "normalization"_a)
      .def(
          "add_image",
          [](BoundField& self, const FloatImage& image, float x_std, float y_std, const Vector& stds,
             const AnyFloats& compat, int normalization) {
            add_image(self.field, image, x_std, y_std, stds, compat, normalization, self.height, self.width);
          },
          "image"_a, "x_std"_a, "y_std"_a, "stds"_a, "compat"_a, "normalization"_a)
      .def(
          "add_features",
          [](BoundField& self, const Matrix& features, const AnyFloats& compat, int normalization) {
            require(features.shape(0) == self.field.num_points(), "features must have one row per point");
            require(features.shape(1) >= 1 && features.shape(1) <= kMaxDimensions,
                 "features must have 1 to 255 dimensions");
            CompatibilityMatrix compatibility = to_compatibility(compat);
            nb::gil_scoped_release release;
            self.field.add_features(features.data(), static_cast<int>(features.shape(1)), std::move(compatibility),
                                    static_cast<Normalization>(normalization));
          },
          "features"_a, "compat"_a, "normalization"_a)
      .def(
          "infer",
          [](BoundField& self, int iterations) {
            require(iterations >= 0, "iterations must not be negative");
            Buffer<float> output;
            {
              nb::gil_scoped_release release;
              output = new_output(self.field);
              self.field.infer(iterations, output.data(), interrupted);
            }
            if (PyErr_Occurred()) throw nb::python_error();
            return to_marginals(output, self.field.num_classes(), self.field.num_points());
          },
          "iterations"_a)
      .def("start",
           [](BoundField& self) {
             Buffer<float> output;
             {
               nb::gil_scoped_release release;
               output = new_output(self.field);
               self.field.start(output.data());
             }
             return to_marginals(output, self.field.num_classes(), self.field.num_points());
           })
      .def(
          "step",
          [](BoundField& self, const MarginalsIn& q) {
            float* marginals = check_marginals(self.field, q);
            nb::gil_scoped_release release;
            self.field.step(marginals);
          },
          "q"_a)
      .def(
          "kl_divergence",
          [](BoundField& self, const MarginalsIn& q) {
            const float* marginals = check_marginals(self.field, q);
            nb::gil_scoped_release release;
            return self.field.kl_divergence(marginals);
          },
          "q"_a)
      .def_prop_ro("vertices",
                   [](BoundField& self) {
                     nb::gil_scoped_release release;
                     return self.field.vertices();
                   })
      .def_prop_ro("timings", [](BoundField& self) { return self.field.timings(); });

  m.def(
      "filter",
      [](const Matrix& features, const Matrix& values, int threads, bool ring) {
        require(features.shape(0) == values.shape(0), "features and values must have the same number of rows");
        require(features.shape(1) >= 1 && features.shape(1) <= kMaxDimensions,
                "features must have 1 to 255 dimensions");
        require(values.shape(1) >= 1 && values.shape(1) <= 1 << 24, "values must have 1 to 2^24 columns");
        require(threads >= 0 && threads <= 4096, "threads must be from 0 to 4096");
        Buffer<float> output(values.size());
        {
          nb::gil_scoped_release release;
          filter(features.data(), static_cast<int>(features.shape(1)), values.data(),
                 static_cast<int>(values.shape(1)), features.shape(0), output.data(), threads, ring);
        }
        return to_matrix(output, values.shape(0), values.shape(1));
      },
      "features"_a, "values"_a, nb::kw_only(), "threads"_a = 0, "ring"_a = false);
  m.def(
      "expand",
      [](const MarginalsIn& refined, const Matrix& probabilities, const Indices& live, int threads) {
        const std::size_t rows = probabilities.shape(0), points = probabilities.shape(1);
        require(refined.shape(0) == live.size() + 1 && refined.shape(1) == points,
                "refined must have the shape (live + 1, points)");
        require(live.size() < rows, "at least one row must not be live");
        require(lies_as_rows(refined), "refined must have the memory layout that infer() returned");
        require(threads >= 0 && threads <= 4096, "threads must be from 0 to 4096");
        Buffer<float> output(rows * points);
        {
          nb::gil_scoped_release release;
          expand(refined.data(), probabilities.data(), rows, points, live.data(), live.size(), output.data(), threads);
        }
        return to_matrix(output, rows, points);
      },
      "refined"_a, "probabilities"_a, "live"_a, nb::kw_only(), "threads"_a = 0);
  m.def(
      "ranges",
      [](const Matrix& values, int threads) {
        const std::size_t rows = values.shape(0);
        require(values.shape(1) > 0, "values must have at least one column");
        require(threads >= 0 && threads <= 4096, "threads must be from 0 to 4096");
        Buffer<float> output(2 * rows);
        {
          nb::gil_scoped_release release;
          find_ranges(values.data(), rows, values.shape(1), output.data(), output.data() + rows, threads);
        }
        return to_matrix(output, 2, rows);
      },
      "values"_a, nb::kw_only(), "threads"_a = 0);
  m.def("release_memory", [] {
    lattice_cache().clear();
    release_memory();
  });
  m.def("simd", [] { return kernels().name; });
  m.def("max_threads", max_threads);
}
