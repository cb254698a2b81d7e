"""GigaAM (Conformer with a CTC or RNN-T head) on ONNX Runtime, by our own code.

model.py puts the pieces together; features.py, ctc.py, rnnt.py and vocabulary.py are functions of arrays.
"""
