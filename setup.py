"""Builds the compiled kernels: a plain shared library without torch's headers, one object for each instruction set.

Without a C++ compiler the installation goes on and the pure-torch twins serve; `mimar doctor` says which is in use.
"""

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, ExecError

HERE = Path("mimar/kernels/csrc")
SETS = {"generic": (16, [])}
X86 = platform.machine().lower() in ("x86_64", "amd64")
if X86:
    SETS |= {"avx2": (32, ["-march=x86-64-v3"]), "avx512": (64, ["-march=x86-64-v4"])}


class Build(build_ext):
    """Compiles every instruction set with its own flags and links them into one library of a fixed name."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []

    def build_extension(self, ext: Extension) -> None:
        common = [
            "-O3",
            "-std=c++17",
            "-fPIC",
            "-fno-math-errno",
            "-fno-exceptions",
            "-fno-rtti",
            "-fvisibility=hidden",
            "-Wno-psabi",
            "-g0",
            *(["-DMIMAR_X86"] if X86 else []),
        ]
        jobs = [("dispatch.cpp", "dispatch", [])]
        jobs += [("instruction_set.cpp", n, [f"-DISA={n}", f"-DWIDTH={w}", *flags]) for n, (w, flags) in SETS.items()]

        def compile_(job: tuple[str, str, list[str]]) -> str:
            source, name, flags = job
            found = None
            for openmp in (["-fopenmp"], []):  # a compiler without OpenMP gives kernels of one thread
                try:
                    command = [*self.compiler.compiler_so_cxx, *common, *openmp, *flags, "-c", str(HERE / source)]
                    target = Path(self.build_temp) / f"{name}.o"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.spawn([*command, "-o", str(target)])
                    return str(target)
                except (CompileError, ExecError) as error:
                    found = error
            raise found

        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(compile_, jobs))
        target = self.get_ext_fullpath(ext.name)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        for openmp in (["-fopenmp"], []):
            try:
                self.spawn([*self.compiler.compiler_so_cxx, "-shared", *openmp, *objects, "-o", target])
                return
            except (CompileError, ExecError):
                if not openmp:
                    raise


sources = [str(p) for p in sorted(HERE.glob("*.cpp"))]
setup(
    ext_modules=[Extension("mimar.kernels._native", sources, language="c++", optional=True)],
    cmdclass={"build_ext": Build},
)
